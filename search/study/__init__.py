"""The study: its storage, who may start which trial, and whose process a running one is."""
