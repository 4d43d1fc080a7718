"""Importing this confines the process for good.

The forkserver does, after all the modules that its children need and before the first child: it takes no other orders.
A child does where the forkserver did not find it.
"""

from __future__ import annotations

import json
import os

from worker.processes.confinement import Needs, confine

# Its parent names them. Without, this is no child.
left = confine(Needs(**json.loads(os.environ["WORKER_CHILD_NEEDS"])))
"""What could not be taken from it, in words."""
