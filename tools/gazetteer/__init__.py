"""Makes `worker/pipeline/gazetteer.tsv` from public data."""
