"""The offer to bring the shipped results of the suite's other models into the store: a job, since it takes minutes."""

from __future__ import annotations

import streamlit as st

from icl_core.evaluation import job_table
from icl_core.evaluation import jobs as table
from icl_core.evaluation.bundle import waiting_bundles
from pages.ui import cached, jobs
from pages.ui.words import count, plain

__all__ = ["offer"]


def offer(key: str) -> None:
    """A sentence and a button while shipped results wait outside the store; nothing once they are in."""
    imports = [job for job in jobs.listed(quiet=True) if job.kind == "import"]
    if imports and imports[0].is_live:
        jobs.live(imports[:1], "Import", lambda job: None)
        return
    waiting = waiting_bundles(cached.store())
    if not waiting:
        return
    if imports and imports[0].state in ("failed", "lost"):
        st.error(plain(imports[0].message))
    with st.container(horizontal=True, vertical_alignment="center", key=f"shipped-{key}"):
        st.markdown(
            "The shipped results of the embedded suite's other training runs, one factor changed at a time, are not "
            f"in this store yet ({count(len(waiting), 'bundle')})."
        )
        if st.button("Bring them in (some minutes)", key=f"shipped-button-{key}"):
            jobs.start(lambda: _submit(waiting))


def _submit(waiting: tuple[str, ...]) -> int:
    title = f"Shipped results: {count(len(waiting), 'bundle')}"
    return table.submit_payload("import", {"bundles": list(waiting)}, title=title, device=job_table.NO_DEVICE)
