"""The kinds of faults: processes, links, disks, membership."""
