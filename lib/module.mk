# lib/: what several programs share.
LIBS   += fh
fh_SRC := $(wildcard lib/*.c)
