"""What the package installs: sizes, licences, reasons. Makes `docs/dependencies.md`."""
