"""The columns of each record, in the order in which it is built from a row."""

# A session's columns, in the order of models.SESSION_COLUMNS.
SESSION = (
    "tenant_id, id, user_id, kind, status, title, metadata, details, results, created_at, updated_at, "
    "last_active_at, last_message_at, ended_at, archived_at, message_count, token_count, last_seq, parent_id, "
    "summary, summary_seq, run_status, progress, stage, error, learns"
)

# Long-term memories. A memory's columns, in the order of memory.memory_from_row.
MEMORY = (
    "m.id, m.tenant_id, m.user_id, m.kind, m.text, m.speaker, m.trust, m.importance, m.valid_from, m.valid_to, "
    "m.superseded_by, m.confirmations, m.recalled_at, m.recall_count, m.metadata, m.created_at, "
    "(select json_agg(json_build_array(s.session_id, s.from_seq, s.to_seq) order by s.session_id, s.from_seq) "
    "from chatmemory.memory_sources s where s.tenant_id = m.tenant_id and s.memory_id = m.id)"
)

# Items under namespaces and keys.
ITEM = "namespace, key, value, nullif(user_id, ''), created_at, updated_at"
