"""What Jinja does otherwise than a file's author is told, put right in a template's tree.

Hides: how a tree is changed. `a ~ b` follows the rule of a leaf, an `if` without its `else` is absent, and what is
reckoned with says its name where it is absent.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

_ORDER = frozenset({"lt", "lteq", "gt", "gteq"})


class Rules(NodeTransformer):
    """Changes a tree where it stands; `visit` returns it."""

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802 - as below
        """An `if` without its `else` is absent."""
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.ImportedName("engine.confined.ABSENT")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's visitor calls it so
        """`a ~ b` is absent where one side is."""
        self.generic_visit(node)
        return join(node.nodes, node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - as above
        """What is compared as more or less says its name; nothing is equal to what is absent, so that can be asked."""
        self.generic_visit(node)
        before: list[nodes.Compare | nodes.Operand] = [node, *node.ops]
        for left, right in zip(before, node.ops, strict=False):
            if right.op in _ORDER:
                left.expr, right.expr = _named(left.expr), _named(right.expr)
        return node

    def _reckoned(self, node: nodes.BinExpr) -> nodes.Node:
        self.generic_visit(node)
        node.left, node.right = _named(node.left), _named(node.right)
        return node

    def _signed(self, node: nodes.UnaryExpr) -> nodes.Node:
        self.generic_visit(node)
        node.node = _named(node.node)
        return node

    visit_Add = visit_Sub = visit_Mul = visit_Div = visit_FloorDiv = visit_Mod = _reckoned  # noqa: N815 - as above
    visit_Neg = visit_Pos = _signed  # noqa: N815 - as above


def _named(operand: nodes.Expr) -> nodes.Expr:
    """An operand that says what it is where it is absent, if that can be written in a few words."""
    name = written(operand)
    return operand if name is None else _filtered(operand, "operand", nodes.Const(name, lineno=operand.lineno))


def _filtered(value: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)


def written(node: nodes.Node) -> str | None:
    """A path, and filters that take nothing more, as a file has them: `data.lines[0].at | epoch`; None for the rest."""
    if isinstance(node, nodes.Name):
        return node.name
    if not isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Filter) or node.node is None:
        return None
    inner = written(node.node)
    if inner is None:
        return None
    if isinstance(node, nodes.Filter):
        return None if node.args or node.kwargs or node.dyn_args or node.dyn_kwargs else f"{inner} | {node.name}"
    inner = f"({inner})" if isinstance(node.node, nodes.Filter) else inner
    if isinstance(node, nodes.Getattr):
        return f"{inner}.{node.attr}"
    return f"{inner}[{node.arg.value!r}]" if isinstance(node.arg, nodes.Const) else None


def join(parts: list[nodes.Expr], line: int) -> nodes.Expr:
    """The expression that makes text of `parts`."""
    return _filtered(nodes.List(parts, lineno=line), "joined")
