"""What the process is doing: a sampling profile of all threads, and the tasks of the event loop with their stacks."""

from __future__ import annotations

from collectionstore_telemetry.profiling.profiler import SECONDS_MAX, Profiler, ProfileRunning
from collectionstore_telemetry.profiling.tasks import TaskGroup, Tasks, tasks

__all__ = ["SECONDS_MAX", "ProfileRunning", "Profiler", "TaskGroup", "Tasks", "tasks"]
