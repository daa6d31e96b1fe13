"""The statements that read the SDK's SQLite database; the table's name is filled in, quoted."""

# The next sessions in the order of their ids, with the times of their first and last items.
SESSIONS = """
select session_id, min(created_at), max(created_at) from {table}
where session_id > ? group by session_id order by session_id limit 500
"""

# The next items of one session.
ITEMS = """
select id, message_data, created_at from {table} where session_id = ? and id > ? order by id limit 100
"""
