"""From a raw page to items in one form. Nothing here knows a site or the database."""
