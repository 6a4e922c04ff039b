"""Views of a record: HTML, Markdown and the terminal."""
