"""Makes the site of the documentation: its generated pages, and the folder that Zensical builds it from."""
