"""A real browser that looks at the console of a member.

- `console.py`  a page of it, which notices whatever goes wrong
- `member.py`   the member behind it, asked by plain HTTP
"""
