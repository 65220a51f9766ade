"""Forms: what a page seals, what a visitor may choose, and how one becomes the other's request.

    parts         a part of the data by its dotted name
    fields        a JSON Schema → the inputs that ask for it, and what was typed → values
    options       what a page may configure
    translations  the texts, in every language there is a file for
    markup        HTML templates: what they may say, and what is wrong with one
    slips         what a page sealed, signed and read back
    reach         what every file of a form has in reach
    results       what is shown after a form
    sheet         one form being filled in: the names that a form file has in reach
    submitting    render a form, take one back

No web framework is known here: a host gives the session's id and gets HTML, and gets a `Submission` for what was
posted. The modules are imported by name, so that the catalog can check a form file before there is an engine.
"""

RESULT = ".result"  # ends the name of the file of what is shown after a form
