"""Names and texts that act where they should only be read, and a study whose model, task and labels are made so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from icl_core.evaluation.study import Study
from tests.support.made_up import made_up_study, refs_of

SCRIPTS = (
    "</script><script>window.ran = 1</script>",
    "<!--<script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "\"'><svg onload=window.ran=1>",
    "[a](javascript:window.ran=1)",
    "javascript:window.ran=1",
    "{{constructor.constructor('window.ran=1')()}}",
    "'+(window.ran=1)+'",
    "datum.x || window.ran",
    "]]><script>window.ran = 1</script>",
    "a\u2028b\u2029c",
    "https://tracker.example/pixel.png",
)
"""What runs, or asks somebody for something, where it is taken for markup, a script or an expression."""
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1+1", '=HYPERLINK("http://x.example")')
"""What a spreadsheet computes."""
MARKED_UP = (
    "**loud**", "_leaning_", "`code`", "$x^2$", "[link](http://x.example)", "![i](http://x.example/i.png)", ":red[hue]",
    ":material/home:", "a -> b -- c >= d", "# head", "- item", "~~gone~~", "<b>bold</b>", "a|b", "&amp;", "\\*",
)  # fmt: skip
"""What Streamlit's Markdown would change."""
ACTING = ("\u202egnp.exe", "\u2066x", "a\x00b", "\x1b[31mred", "a\ud800b", "\u200b", "\ufeff", "line\nbreak", "\u0085")
"""Characters that act on the text around them."""
MODEL = f"{SCRIPTS[0]} {SCRIPTS[2]} **loud** $x^2$ detrevni"
LABELS = (f"=1+1 {SCRIPTS[0]}", "[link](javascript:window.ran=1) $y$ **loud**")


def hostile_task(folder: Path) -> str:
    """A task file whose name and labels are markup."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "$x^2$ **loud** <img src=x onerror=window.ran=1> lmth.csv"
    quoted = ['"' + label.replace('"', '""') + '"' for label in LABELS]
    rows = [f'"sentence {index} $z$ <b>",{quoted[index % 2]}' for index in range(400)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return f"file:{path.resolve()}"


def hostile_study(folder: Path) -> Study:
    """A study of one model and one task, all named as badly as names can be, beside a task with an ordinary name."""
    study = made_up_study(tasks=("sst2", hostile_task(folder)), n_test=100)
    refs = tuple(dataclasses.replace(ref, model=MODEL, family="folder", location="/nowhere") for ref in refs_of(MODEL))
    return dataclasses.replace(study, checkpoints=refs)
