"""Importing this module confines the process permanently (see `confinement`).

The forkserver accepts only a list of modules to import. It imports this one last, after the modules that its children
need. A child imports it again in case the forkserver could not find it.
"""

from __future__ import annotations

import json
import os

from worker.processes.confinement import Needs, confine

# The parent sets the variable. Without it, this process is not a child, and must not be confined.
gaps = confine(Needs(**json.loads(os.environ["WORKER_CHILD_NEEDS"])))
"""What `confine` returned."""
