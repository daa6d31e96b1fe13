-- Facts that may say the same as an older one, or contradict it: it is not certain, so both are kept.
alter table chatmemory.memories add column similar_to text[];
