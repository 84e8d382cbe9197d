# tests/disk: images from outside; see README.md. make oracle: is the independent reader right? make interop [T=row]: what
# we write is read by others, and what they write by us.
# Debian's own Python: python3-libvhdi is for no other.
PYTHON := /usr/bin/python3

oracle:
	@$(PYTHON) tests/disk/selftest.py
interop: $B/bin/fh-disk
	@FH_DISK=$B/bin/fh-disk $(PYTHON) tests/disk/interop.py $(T)
.PHONY: oracle interop
