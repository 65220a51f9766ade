"""What is wrong with a file that only other files tell: what it is for, or what it names, is not there.

Hides: which kinds of files lean on which others. A file with faults of its own still has its name, and no other file is
wrong because of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from engine.changes import Mapper
from engine.errors import Fault, did_you_mean
from engine.forms import RESULT
from engine.request_types import Gateway, RequestType
from engine.template_checks import Source
from engine.yaml_files import YamlFile


def mapper_faults(mappers: Mapping[str, Mapper], request_types: Collection[str]) -> Iterator[Fault]:
    """Mappers of no request type, of which `request_types` are the names."""
    for name, mapper in mappers.items():
        wanted = name.removesuffix(".declined")
        if wanted not in request_types:
            guess = did_you_mean(wanted, request_types)
            yield Fault(mapper.file, 1, 1, f"there is no request type {wanted!r} for this mapper{guess}")


def form_faults(forms: Mapping[str, Source], request_types: Collection[str]) -> Iterator[Fault]:
    """Forms, and pages of what came of one, of no request type."""
    for name, source in forms.items():
        wanted = name.removesuffix(RESULT)
        if wanted not in request_types:
            guess = did_you_mean(wanted, request_types)
            yield Fault(source.file, 1, 1, f"there is no request type {wanted!r} for this form{guess}")


def processor_faults(
    processors: Mapping[str, Mapper],
    gateways: Mapping[str, Gateway],
    folders: Collection[str],
    depths: Mapping[str, int],
) -> Iterator[Fault]:
    """Processors that no event comes to: of no gateway, or of one that receives none.

    `folders` are the names of all gateways. `depths` says of every file in how many folders it was not found before;
    what stands deeper than its gateway's file is not for whoever wrote that one to remove.
    """
    for name, processor in processors.items():
        wanted = name.partition("/")[0]
        gateway, common = gateways.get(wanted), f"request_types/{wanted}/_gateway.yml"
        if wanted not in folders:
            guess = did_you_mean(wanted, folders)
            yield Fault(processor.file, 1, 1, f"there is no gateway {wanted!r} for this processor{guess}")
        elif gateway and not gateway.webhook and depths[processor.file] <= depths[common]:
            message = f"{wanted} receives no event; write webhook: into {common}, or remove this processor"
            yield Fault(processor.file, 1, 1, message)


def lookup_faults(
    types: Mapping[str, RequestType], files: Mapping[str, YamlFile], request_types: Collection[str]
) -> Iterator[Fault]:
    """Look-ups by no request type. `files` are those of the types."""
    for type in types.values():
        if type.lookup and type.lookup not in request_types:
            guess = did_you_mean(type.lookup, request_types)
            yield files[type.name].fault("/lookup", f"lookup: there is no request type {type.lookup!r}{guess}")


def redirect_faults(types: Mapping[str, RequestType], files: Mapping[str, YamlFile]) -> Iterator[Fault]:
    """Hosted pages that no browser may be sent to, which a visitor would learn after the call is carried out."""
    for type in types.values():
        if type.leads_on and not type.gateway.browser.get("redirect"):
            write = f"write browser: {{redirect: [HOST]}} into request_types/{type.gateway.name}/_gateway.yml"
            yield files[type.name].fault("/redirect", f"no host is named that a browser may be sent to; {write}")
