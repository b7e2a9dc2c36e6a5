"""Local clusters for tests and programs: started and stopped by `csctl local`, with their own folder and ports.

`local` starts and stops, `node_status` reads what nodes report, `members` reads and signals the member processes.
"""
