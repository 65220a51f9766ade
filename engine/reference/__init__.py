"""The reference: a static site of everything that the files define, made of nothing but the files.

    sources      the files' texts, and the cases that are about each
    examples     what a case shows: as Python, as curl, with its answer and records
    connections  which definition has to do with which
    site         paths and pages, and the index that the search reads
    writing      the site in a folder

Hides: how the pages look. They hold no secret, for a file only names them.
"""

from engine.reference.site import Site as Site
from engine.reference.writing import Written as Written
from engine.reference.writing import write as write

__all__ = ["Site", "Written", "write"]
