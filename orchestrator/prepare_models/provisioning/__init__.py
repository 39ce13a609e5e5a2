"""New engines behind a directory that consumers read: built and judged aside, switched in one step, taken back in one."""
