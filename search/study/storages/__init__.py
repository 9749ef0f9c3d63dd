"""Where a study is kept: SQLite or a database server, opened, locked, watched."""
