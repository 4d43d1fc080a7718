"""The database's schema: its files, the migrations that are made from them, and the document that describes it."""
