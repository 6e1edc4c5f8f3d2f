"""What every chapter must keep; a rule takes a notebook and returns what is wrong with it."""

import re

HOST_PATH = re.compile(r"(?<![\w.:/-])/([\w.-]+/)+[\w.-]+|\b[A-Z]:\\\w+")
SECONDS = re.compile(r"(?<![\w.])\d+(\.\d+)?\s?(ns|µs|us|ms|s|sec|seconds?|minutes?)\b")
IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
WIDGET = "application/vnd.jupyter.widget-view+json"
LANGUAGE = {"name": "python"}


def code(notebook):
    """Return the code cells, each with its place in the notebook."""
    return [(n, cell) for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def outputs(notebook):
    """Return all outputs, each with its cell and the cell's place."""
    return [(n, cell, output) for n, cell in code(notebook) for output in cell.outputs]


def texts(output):
    """Return every text of an output that a reader sees."""
    data = {k: v for k, v in output.get("data", {}).items() if k not in IMAGES}
    parts = [output.get("text", ""), *data.values(), *output.get("traceback", [])]
    return "\n".join(part for part in parts if isinstance(part, str))


def is_expected(cell):
    """Whether the cell is there to show an error."""
    return "raises-exception" in cell.metadata.get("tags", [])


def executed_in_order(notebook):
    """Executed once, from the first cell to the last."""
    counts = [cell.execution_count for _, cell in code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: run `make execute`"


def has_outputs(notebook):
    """At least one code cell, and outputs stored."""
    if not code(notebook):
        yield "has no code cell: a page without code is a Markdown file"
    elif not outputs(notebook):
        yield "has no output: run `make execute`"


def has_no_errors(notebook):
    """An error only where the cell is tagged raises-exception, and there always."""
    for n, cell in code(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and not is_expected(cell):
            yield f"cell {n} failed"
        if is_expected(cell) and not failed:
            yield f"cell {n} is tagged raises-exception and raises none"


def has_no_warnings(notebook):
    """Nothing on stderr: warnings and progress bars do not belong on a page."""
    for n, _, output in outputs(notebook):
        if output.get("name") == "stderr":
            yield f"cell {n} writes to stderr: {output.text.splitlines()[0]!r}"


def has_no_magics(notebook):
    """Plain Python: nbval passes a cell whose first line is an unknown magic."""
    for n, cell in code(notebook):
        for line in cell.source.splitlines():
            if re.match(r"\s*(%{1,2}[a-zA-Z]|![\w./-]|\?+\w)|.*\w\?{1,2}\s*$", line.split("#")[0]):
                yield f"cell {n} has a magic: {line!r}"


def has_alt_texts(notebook):
    """A text for each image of an output (cell metadata mystnb.image.alt) or of the prose."""
    for n, cell, output in outputs(notebook):
        if any(kind in output.get("data", {}) for kind in IMAGES):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if len(alt.split()) < 4:
                yield f"cell {n} shows an image; say what it shows in mystnb.image.alt, got {alt!r}"
    for n, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
            yield f"cell {n} has an image without alt text"


def opens_with_title_and_paragraph(notebook):
    """A title, then a paragraph that says what the reader will be able to do."""
    first = notebook.cells[0]
    lines = [line for line in first.source.splitlines() if line.strip()]
    if first.cell_type != "markdown" or not lines or not re.match(r"# \S", lines[0]):
        yield "must open with a Markdown cell whose first line is `# Title`"
    elif len(lines) < 2 or re.match(r"[#>|:`!\-*+(]|\d+\.", lines[1]):
        yield "must have a paragraph right after the title, in the same cell"
    prose = "\n\n".join(outside_code(cell) for cell in notebook.cells)
    titles = re.findall(r"^# ", prose, re.M)
    if len(titles) > 1:
        yield f"has {len(titles)} titles; the sections begin with `##`"


def outside_code(cell):
    """Return the prose of a Markdown cell without its fenced blocks, and nothing of others."""
    if cell.cell_type != "markdown":
        return ""
    return re.sub(r"^(```+|~~~+).*?^\1", "", cell.source, flags=re.M | re.S)


def has_no_widgets(notebook):
    """No widget: its state is large and dies with the kernel."""
    if "widgets" in notebook.metadata:
        yield "stores widget state"
    for n, _, output in outputs(notebook):
        if WIDGET in output.get("data", {}):
            yield f"cell {n} shows a widget"


def is_normalised(notebook):
    """Kernel python3, and no metadata that differs between machines or runs."""
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield f"kernel is {notebook.metadata.get('kernelspec')}, must be python3"
    if notebook.metadata.get("language_info") != LANGUAGE:
        yield f"language_info must be {LANGUAGE}: run `make execute`"
    spare = notebook.metadata.keys() - {"kernelspec", "language_info", "mystnb", "widgets"}
    if spare:
        yield f"has metadata {sorted(spare)}: run `make execute`"
    for n, cell in enumerate(notebook.cells):
        if "execution" in cell.metadata:
            yield f"cell {n} stores when it ran: run `make execute`"


def is_timeless(notebook):
    """No path of a machine and no measured time in an output."""
    for n, _, output in outputs(notebook):
        for what, pattern in (("path of one machine", HOST_PATH), ("time", SECONDS)):
            found = pattern.search(re.sub(r"<[^>]+>|\x1b\[[\d;]*m", "", texts(output)))
            if found:
                yield f"cell {n} prints a {what}: {found[0]!r}"


RULES = [
    executed_in_order,
    has_outputs,
    has_no_errors,
    has_no_warnings,
    has_no_magics,
    has_alt_texts,
    opens_with_title_and_paragraph,
    has_no_widgets,
    is_normalised,
    is_timeless,
]


def problems(notebook):
    """Return all that is wrong with one chapter, each led by the rule's name."""
    return [f"{rule.__name__}: {text}" for rule in RULES for text in rule(notebook)]


def pages(toc):
    """Return the files that a parsed _toc.yml names."""
    found = [toc[key] for key in ("root", "file") if key in toc]
    for key in ("parts", "chapters", "sections", "subtrees"):
        for entry in toc.get(key, []):
            found += pages(entry)
    return found


# Seconds on two cores; a slow machine is allowed three times as much.
BUDGET = {"cell": 20, "chapter": 60, "book": 600}
SLACK = 3


def over_budget(record):
    """Return what of a run's record {chapter: {cell: seconds}} takes longer than its budget."""
    chapters = {name: sum(cells.values()) for name, cells in record.items()}
    seconds = [("book", "the book", sum(chapters.values()))]
    seconds += [("chapter", name, time) for name, time in chapters.items()]
    for name, cells in record.items():
        seconds += [("cell", f"{name}, {cell}", time) for cell, time in cells.items()]
    return [
        f"{name} took {time:.0f} s, its budget is {BUDGET[kind]} s (with slack {SLACK}x)"
        for kind, name, time in seconds
        if time > SLACK * BUDGET[kind]
    ]
