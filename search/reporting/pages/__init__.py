"""The forms of a report: HTML, Markdown, CSV, JSON, and their words."""
