"""How Sphinx makes the pages of this folder: ``sphinx-build -W --keep-going -n docs docs/_build``.

It needs the package with its extra ``test``, for the engines, and the dependency group ``docs``. All that a page loads
lies beside it, so that it can be read offline: a page that loads anything else is a warning.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

import procorch

project = "procorch"
author = "the authors of procorch"
version = release = procorch.__version__
html_title = f"procorch {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "examples/**"]
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
highlight_language = "none"
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_typehints = "none"  # types stand in the docstrings, each beside what it means
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "no-value": True}
python_maximum_signature_line_length = 100

nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"P|P\.(kw)?args|R|T|\*Ts"),  # variables of types
    ("py:.*", r"rich|matplotlib|distributed\.get_worker|Client"),  # of the libraries of extras
    # What only an engine of one's own meets. It is private: such an engine is told in the docstrings how to go on.
    ("py:.*", r"_far\.run|Lane(\.\w+)?|Looked|Share|Unshare|WorkerDied|WorkerReady|WorkerEvent|ToWorker|Setup"),
]

FACES = ("procorch", "procorch.ProcessGroup", "procorch.aio", "procorch.events", "procorch.engines", "procorch.trace")
"""Where docstrings name things of: as their readers know them, without saying the module each time."""

GOOGLE = Config(napoleon_use_ivar=True)
NOT_FOR_USERS = "Not for users"
"""How the docstring of a constructor begins that only procorch calls."""

ASSET = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed|object)\b[^>]*?\b(?:src|srcset|data)=["']?(?:https?:)?//[^>]*>
    |<(?:image|use)\b[^>]*?\bhref=["']?(?:https?:)?//[^>]*>
    |<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|shortcut))[^>]*\bhref=["']?(?:https?:)?//[^>]*>
    |@import\s+(?:url\()?["']?(?:https?:)?//[^;]*|url\(["']?(?:https?:)?//[^)]*\)""",
    re.VERBOSE,
)
"""What makes a browser load something from elsewhere, in a page or in a style sheet."""

logger = logging.getLogger(__name__)


def know_where_names_are_defined() -> None:
    """Let autodoc find the texts under fields: it looks for them in ``procorch`` itself, where no name is defined."""
    face = ModuleAnalyzer.for_module("procorch")
    face.analyze()
    homes: dict[str, str] = vars(procorch)["_HOMES"]
    for home in {*homes.values(), "_tasks"}:
        analyzer = ModuleAnalyzer.for_module(f"procorch.{home}")
        analyzer.analyze()
        face.attr_docs.update(analyzer.attr_docs)
        face.tagorder.update(analyzer.tagorder)


def read_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn a docstring into what Sphinx reads."""
    if what == "module":  # of which the pages themselves say more
        del lines[next((number for number, line in enumerate(lines) if not line), len(lines)) :]
        return
    # What Sphinx's own extension makes of a property takes the words before its first colon for a type.
    kind = "method" if what in {"attribute", "data", "property"} else what
    escaped = [line.replace("*Ts", r"\*Ts") for line in lines]  # no emphasis begins there
    lines[:] = GoogleDocstring(escaped, GOOGLE, app, kind, name, obj, options).lines()


def sign(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leave out how a class is made which users do not make, and what the text of `ProcessGroup.map` says better."""
    made_here = what == "class" and (getattr(obj.__init__, "__doc__", None) or "").startswith(NOT_FOR_USERS)
    return ("" if made_here or name == "procorch.ProcessGroup.map" else signature), returns


def find(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.Element | None:
    """Find what a docstring names without its module, and be content with names of the standard library."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    python = env.domains.python_domain
    for face in FACES:
        # Fields stand in the text of their class.
        for name in (f"{face}.{target}", f"{face}.{target.rpartition('.')[0]}"):
            if name in python.objects and exists(f"{face}.{target}"):
                return python.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)
    return text if is_standard(target) else None


def is_standard(name: str) -> bool:
    """Tell whether the standard library has something of that name."""
    if name.partition(".")[0] not in sys.stdlib_module_names:
        return name in {"PathLike", "Executor", "Future"}
    return exists(name)


def exists(name: str) -> bool:
    """Tell whether something has that name."""
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True


def link_within(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links that leave this folder lead to the page here that includes what they lead to."""
    source[0] = source[0].replace("](../benchmarks/README.md)", "](benchmarks.md)")


def look_for_assets(app: Sphinx, error: Exception | None) -> None:
    """Warn of what pages would load from elsewhere."""
    if error is not None or app.builder.format != "html":
        return
    for file in sorted(Path(app.outdir).rglob("*")):
        if file.suffix in {".html", ".css", ".svg"}:
            for found in ASSET.findall(file.read_text(encoding="utf-8")):
                logger.warning("%s loads from elsewhere: %s", file.relative_to(app.outdir), found)


def setup(app: Sphinx) -> None:
    """Extend Sphinx."""
    know_where_names_are_defined()
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", sign)
    app.connect("missing-reference", find)
    app.connect("source-read", link_within)
    app.connect("build-finished", look_for_assets)
