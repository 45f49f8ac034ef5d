"""The app's frame: page configuration, navigation and the sidebar's study; everything else is in pages/.

Run it with ``streamlit run app.py``. A page is ``pages/<name>/page.py`` and, but for the home page, a three-line
``pages/<name>.py``, which serves its address when that is the first visit of a fresh server.
"""

PAGES = ("evaluate", "dynamics", "competition", "fusion", "playground", "lab", "paper")
"""The pages beside home, in the order of the navigation; each has its address and its entry file."""


def main() -> None:
    """Draws one run of the app."""
    import streamlit as st

    from pages.ui.controls import kept, links
    from pages.ui.panels import frame
    from pages.ui.words.written import PageEndsError

    st.set_page_config(page_title="ICL Observatory", page_icon="🔭", layout="wide")
    home = st.Page("pages/home/page.py", title="Home", default=True)
    others = [st.Page(f"pages/{name}/page.py", title=name.capitalize(), url_path=name) for name in PAGES]
    page = st.navigation([home, *others])
    links.read()
    notice = st.container()
    try:
        said = frame.draw(page.url_path)
        page.run()
        frame.say_troubles(said)
        links.settle()
    except PageEndsError:
        pass  # it has said why
    finally:
        with notice:
            links.say()
            kept.say_stayed()
        with st.sidebar:
            kept.offer_left()
    kept.drawn(page.url_path)


if __name__ == "__main__":  # also true under streamlit run and AppTest; false in a spawned worker
    main()
elif __name__ == "app":  # the server imports this file once, by its name, for the application around the pages
    import threading

    import pandas as pandas  # before any visit: Altair asks a half imported one, if another thread is at it, and fails
    from starlette.middleware import Middleware
    from streamlit.starlette import App

    from icl_core.threads import take_one_thread
    from pages.ui.server.early import import_pages, look_ahead
    from pages.ui.server.entry import AddressScript
    from pages.ui.server.guard import GuardHeaders, unexpected

    import_pages()
    take_one_thread()
    threading.Thread(target=look_ahead, name="look ahead", daemon=True).start()
    around = [Middleware(GuardHeaders), Middleware(AddressScript, pages=PAGES)]
    app = App(__file__, middleware=around, on_script_error=unexpected)
