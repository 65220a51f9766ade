"""Templates: read, checked at start, compiled once, rendered.

Hides: how a file's text becomes a function. There are two kinds:

* a *structure*: YAML whose leaves are expressions. A leaf that is one expression keeps its type, text around an
  expression makes text, a leaf with an absent part is absent. All leaves together are one compiled expression.
* a *document*: JSON text in which every `{{ }}` is a whole JSON value, so data cannot become syntax.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, NoneType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context

from engine.confined import ABSENT, Absent, Environment, Misplaced
from engine.errors import Fault
from engine.json_texts import iter_documents
from engine.plain_leaves import plain_tree
from engine.pointers import escaped
from engine.template_checks import TOO_DEEP, Check, Names, Refused, Source, outside_strings, worth_a_look
from engine.template_rules import join, written
from engine.whole_values import whole_values
from engine.yaml_files import Mark


class RenderError(ValueError):
    """A value cannot stand where the template puts it; `file` and `line` say where that is, `path` which, if known."""

    def __init__(self, file: str, line: int, message: str, path: str = "") -> None:
        self.file, self.line, self.path = file, line, path
        super().__init__(f"{file}:{line}: {message}")


class Templates:
    """Parses and compiles; one for a catalog, since fragments are found by its `loader`."""

    def __init__(
        self, structures: Environment, documents: Environment, fragment: Callable[[str], Source | None]
    ) -> None:
        self._structures, self._documents, self._fragment = structures, documents, fragment
        self._values = whole_values(documents)
        shared = functools.lru_cache(maxsize=64)  # a fragment is checked with every file that includes it
        self._leaf = shared(self._leaf_nodes)
        self._document = shared(lambda source: worth_a_look(self._parse(documents, source), source))
        self._tokens = shared(self._lexed)
        self._outside_strings = shared(lambda source: list(outside_strings(self._tokens(source), source)))
        self.skeleton = shared(self._skeleton)

    # Checks -----------------------------------------------------------------------------------------------------------

    def check_leaf(self, source: Source, names: Names) -> list[Fault]:
        """What is wrong with one leaf of a structure."""
        try:
            return Check(source, names).faults(self._leaf(source))
        except Refused as refused:
            return [refused.fault]

    def check_shown(self, source: Source, names: Names) -> list[Fault]:
        """What is wrong with a leaf beside that, where it stands for everybody to see."""
        try:
            return list(Check(source, names).shows(self._leaf(source)))
        except Refused:
            return []

    def names(self, source: Source) -> frozenset[str]:
        """The names that a leaf without faults mentions."""
        return frozenset(node.name for node in self._leaf_tree(source).find_all(nodes.Name))

    def check_document(self, source: Source, names: Names) -> list[Fault]:
        """What is wrong with a JSON document, its fragments included."""
        try:
            tree = self._document(source)
        except Refused as refused:
            return [refused.fault]
        check = Check(source, names)
        faults = [*self._outside_strings(source), *check.faults(tree)]
        for include in _includes(tree):
            name = include.template.value if isinstance(include.template, nodes.Const) else None
            fragment = self._fragment(name) if isinstance(name, str) else None
            if fragment is None:
                message = (
                    f"there is no fragment {name!r} in response_mappers" if name else "name the fragment in quotes"
                )
                faults.append(source.fault(include.lineno, "include", message))
            else:
                faults += self.check_document(fragment, {**names, **dict.fromkeys(check.assigned)})
        return faults

    def check_structure(
        self, file: str, value: Any, marks: Mapping[str, Mark], pointer: str, names: Names
    ) -> Iterator[Fault]:
        """What is wrong with the leaves of a structure of `file`, whose part `value` stands at `pointer`."""
        for leaf, mark in placed(file, value, marks, pointer):
            if mark.folded:
                message = "a folded text (>) moves its lines; write it as a block (|)"
                yield Fault(mark.file, mark.line, mark.column, message)
            yield from self.check_leaf(Source.at(leaf, mark), names)

    def included(self, source: Source) -> list[str]:
        """The names of the fragments that a document without faults includes."""
        constants = [include.template for include in _includes(self._document(source))]
        return [part.value for part in constants if isinstance(part, nodes.Const)]

    def _skeleton(self, source: Source) -> str:
        """The text of a document as it stands, with null for every expression and blanks for every block."""
        kept: list[str] = []
        expression = ""
        for _, kind, text in self._tokens(source):
            if kind == "variable_begin" or expression:
                expression += text
                if kind == "variable_end":
                    kept.append("null" + _blank(expression)[4:])
                    expression = ""
            else:
                kept.append(text if kind == "data" else _blank(text))
        return "".join(kept)

    def _leaf_nodes(self, source: Source) -> list[nodes.Node]:
        tree = self._leaf_tree(source)
        _expression(tree, source, "value")
        return worth_a_look(tree, source)

    def _leaf_tree(self, source: Source) -> nodes.Template:
        return plain_tree(source.text, source.line) or self._parse(self._structures, source)

    def _parse(self, environment: Environment, source: Source) -> nodes.Template:
        try:
            tokens = self._tokens(source)
            parser = Parser(environment, "", filename=source.file)
            parser.stream = TokenStream(environment.lexer.wrap(tokens, None, source.file), None, source.file)
            return nodes.Template(parser.subparse(), lineno=1)
        except jinja2.TemplateSyntaxError as error:
            raise Refused(
                Fault(source.file, error.lineno, 1, f"{(error.message or '').rstrip('.')}; mend the template")
            ) from None
        except RecursionError:
            raise Refused(source.fault(source.line, "", TOO_DEEP)) from None

    def _lexed(self, source: Source) -> list[tuple[int, str, str]]:
        """The tokens, with the lines of the file. Once for all who look at them."""
        before = source.line - 1
        try:
            return [(line + before, kind, text) for line, kind, text in self._documents.lex(source.text)]
        except jinja2.TemplateSyntaxError as error:
            error.lineno += before
            raise

    # Compilation ------------------------------------------------------------------------------------------------------

    def structure(self, value: Any, marks: Mapping[str, Mark], file: str) -> Callable[[Names], Any]:
        """A function that renders `value`, a structure found in `file` under the pointers of `marks`.

        The parts `url` and `headers` of the top mapping encode for their place.
        """

        def template() -> jinja2.Template:
            environment = self._structures
            kept = environment.bytecode_cache
            text = json.dumps([value, list(marks.items())])  # all that decides how the code looks
            bucket = kept.get_bucket(environment, file, file, text) if kept else None
            code = bucket.code if bucket else None
            if code is None:
                code = self._compiled(self._node(value, marks, file, ""), file)
                if kept and bucket:
                    bucket.code = code
                    kept.set_bucket(bucket)
            return jinja2.Template.from_code(environment, code, environment.globals)

        compiled = _once(template, self._structures)

        def render(names: Names) -> Any:
            try:
                result = pruned(self._result(compiled(), names))
                return {} if result is ABSENT else result
            except Exception as error:  # noqa: BLE001 - whatever a template's author got wrong
                raise self._blamed(error, value, marks, file, names) from None

        return render

    @staticmethod
    def _result(compiled: jinja2.Template, names: Names) -> Any:
        context = _context(compiled, names)
        for _ in compiled.root_render_func(context):
            pass  # it says nothing; what it makes is a name of the context's
        return context.vars["result"]

    def _blamed(self, error: Exception, value: Any, marks: Mapping[str, Mark], file: str, names: Names) -> RenderError:
        """The error with the line of the leaf that raises it, found by rendering the leaves one by one."""
        for pointer, leaf in _leaves(value, ""):
            code = self._compiled(self._node(leaf, marks, file, pointer), file)
            try:
                pruned(self._result(jinja2.Template.from_code(self._structures, code, self._structures.globals), names))
            except Exception as raised:  # noqa: BLE001 - as above
                mark, path = marks.get(pointer), raised.path if isinstance(raised, Misplaced) else ""
                place = (mark.file, mark.text_line) if mark else (file, 1)
                return RenderError(*place, str(raised), path)
        return RenderError(file, 1, str(error))

    def _compiled(self, expression: nodes.Expr, file: str) -> CodeType:
        body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)]
        return self._structures.compile(nodes.Template(body, lineno=1), file, file)

    def _node(self, value: Any, marks: Mapping[str, Mark], file: str, pointer: str) -> nodes.Expr:
        if isinstance(value, Mapping):
            parts = {key: self._node(part, marks, file, f"{pointer}/{escaped(key)}") for key, part in value.items()}
            return nodes.Dict([nodes.Pair(nodes.Const(key), part) for key, part in parts.items()], lineno=1)
        if isinstance(value, list):
            return nodes.List(
                [self._node(part, marks, file, f"{pointer}/{n}") for n, part in enumerate(value)], lineno=1
            )
        if not isinstance(value, str):
            return nodes.Const(value, lineno=1)
        mark = marks.get(pointer)
        source = Source.at(value, mark) if mark else Source(value, file)
        return _expression(self._leaf_tree(source), source, _place(pointer))

    def body(self, source: Source) -> Callable[[Names], str]:
        """A function that renders the JSON template which is a request's body."""
        padded = "{#" + "\n" * (source.line - 1) + "#}" + source.text

        def template() -> jinja2.Template:
            code = self._documents.compile(padded, filename=source.file)
            return jinja2.Template.from_code(self._documents, code, self._documents.globals)

        return self._rendering(_once(template, self._documents), source.file)

    def document(self, name: str, file: str) -> Callable[[Names], str]:
        """A function that renders the document `name` of the loader to JSON text."""
        return self._rendering(lambda: self._documents.get_template(name), file)

    def values(self, name: str, file: str) -> Callable[[Names], list[Any]]:
        """A function that gives the values of which the document `name` of the loader is the text."""
        render = self.document(name, file)

        def values(names: Names) -> list[Any]:
            try:
                compiled = self._values.get_template(name)
                return list(compiled.root_render_func(_context(compiled, names)))
            except Exception:  # noqa: BLE001 - rendered as a text, it says where it fails, if it does
                return list(iter_documents(render(names)))

        return values

    @staticmethod
    def _rendering(template: Callable[[], jinja2.Template], file: str) -> Callable[[Names], str]:
        def render(names: Names) -> str:
            compiled = template()
            try:
                return "".join(compiled.root_render_func(_context(compiled, names)))
            except Exception as error:  # noqa: BLE001 - whatever a template's author got wrong
                raise _located(error, compiled, file) from None

        return render


def _once(template: Callable[[], jinja2.Template], environment: Environment) -> Callable[[], jinja2.Template]:
    """`template`, made at its first use by whoever is first."""
    made: list[jinja2.Template] = []

    def get() -> jinja2.Template:
        if not made:
            with environment.compiling:
                if not made:
                    made.append(template())
        return made[0]

    return get


def _context(compiled: jinja2.Template, names: Names) -> Context:
    environment = compiled.environment
    return environment.context_class(environment, {**names, **environment.globals}, compiled.name, {})


def _includes(tree: list[nodes.Node]) -> Iterator[nodes.Include]:
    return (node for node in tree if isinstance(node, nodes.Include))


def _place(pointer: str) -> str:
    """How the leaf at `pointer` of a request is encoded; everything but URL and headers keeps its value."""
    return {"url": "segment", "headers": "header"}.get(pointer.split("/")[1] if pointer else "", "value")


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{pointer}/{escaped(key)}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{pointer}/{number}")
    elif isinstance(value, str) and is_template(value):
        yield pointer, value


def placed(file: str, value: Any, marks: Mapping[str, Mark], pointer: str) -> Iterator[tuple[str, Mark]]:
    """Every template in a structure of `file` whose part `value` stands at `pointer`, with where it stands."""
    for place, leaf in _leaves(value, pointer):
        yield leaf, marks.get(place) or Mark(file, 1, 1, 1)


def is_template(text: str) -> bool:
    """Whether `text` holds template syntax at all."""
    return "{{" in text or "{%" in text or "{#" in text


_PLAIN = frozenset({str, int, float, bool, NoneType})


def pruned(value: Any) -> Any:
    """`value` without what is absent; a mapping or list of which nothing is left, though it had parts, is absent."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        kept = {}
        for key, whole in value.items():
            if whole is ABSENT:
                continue
            part = whole if type(whole) in _PLAIN else pruned(whole)
            if part is not ABSENT:
                kept[key] = part
        return kept if kept or not value else ABSENT
    if isinstance(value, (list, tuple)):
        items = [part for part in map(pruned, value) if part is not ABSENT]
        return items if items or not value else ABSENT
    if isinstance(value, Absent):
        return ABSENT
    if isinstance(value, str | int | float):
        return value  # an enumeration's member is one, too
    return [pruned(part) for part in value]  # a filter's generator


def _located(error: Exception, template: jinja2.Template, file: str) -> RenderError:
    """Whatever a template raised, with the template's own file and line."""
    line, traceback = 1, error.__traceback__
    while traceback is not None:
        loaded = traceback.tb_frame.f_globals.get("__jinja_template__") or template
        if traceback.tb_frame.f_code.co_filename == loaded.filename:
            file, line = loaded.filename, loaded.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return RenderError(file, line, str(error))


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text) if "\n" in text else " " * len(text)


def _expression(tree: nodes.Template, source: Source, place: str) -> nodes.Expr:
    def encoded(part: nodes.Expr) -> nodes.Expr:
        if place == "value" or isinstance(part, nodes.TemplateData):
            return part
        label = nodes.Const(_label(part, source))
        return nodes.Filter(part, place, [label], [], None, None, lineno=part.lineno)

    parts = [part for node in tree.body for part in _parts_of(node, source, encoded)]
    return parts[0] if len(parts) == 1 else join(parts, source.line)


def _parts_of(node: nodes.Node, source: Source, encoded: Callable[[nodes.Expr], nodes.Expr]) -> Iterator[nodes.Expr]:
    if isinstance(node, nodes.Output):
        for part in node.nodes:
            yield nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else encoded(part)
    elif isinstance(node, nodes.If):
        yield _conditional(node, source, encoded)
    else:
        word = type(node).__name__.lower()
        raise Refused(source.fault(node.lineno, word, f"{word} cannot stand in a leaf; only {{{{ }}}} and if can"))


def _conditional(node: nodes.If, source: Source, encoded: Callable[[nodes.Expr], nodes.Expr]) -> nodes.Expr:
    def text(body: list[nodes.Node]) -> nodes.Expr:
        return join([part for inner in body for part in _parts_of(inner, source, encoded)], node.lineno)

    otherwise = text(node.else_)
    for branch in reversed(node.elif_):
        otherwise = nodes.CondExpr(branch.test, text(branch.body), otherwise, lineno=branch.lineno)
    return nodes.CondExpr(node.test, text(node.body), otherwise, lineno=node.lineno)


def _label(part: nodes.Expr, source: Source) -> str:
    """`data.gateway_id` for a message; the line for what is more than a path."""
    return written(part) or f"the value on line {part.lineno or source.line}"
