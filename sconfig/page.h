/*
 * sconfig/page.h - what a page is: a table. Drawing, keys, questions, validation, preview and read-back are
 * the engine's (form.h, view_*.c, prompts.c); a page names RPC methods and touches nothing itself.
 *
 * Numbers are those of SConfig and keep their meaning for ever. docs/sconfig.md lists them.
 */
#ifndef SCONFIG_PAGE_H
#define SCONFIG_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum item_type {
	ITEM_FACT, /* shown, not changed */
	ITEM_TEXT,
	ITEM_NUMBER, /* whole; with unit MiB, "2G" is 2048 */
	ITEM_BOOL,   /* "yes" or "no" */
	ITEM_CHOICE, /* one of names, or of what a method lists */
	ITEM_LIST,   /* texts, with blanks between them */
};

enum {
	ITEM_REQUIRED = 1, /* may not be empty */
	ITEM_KEY = 2,    /* which object the page's other items are about: always sent, changing it reloads */
	ITEM_UNSENT = 4, /* for the menu only (a word typed again): checked, not sent */
	ITEM_UNREAD = 8, /* always begins empty: what is so is shown elsewhere */
};

/* Where a choice comes from: members of an array in the answer of a method, or of the page's own load. */
struct source {
	const char *method; /* NULL: the page's own document */
	const char *params; /* JSON text; NULL: {} */
	const char *list;   /* "zones", "files", "adapters" */
	const char *value;  /* member of an element; NULL: the element is the text */
	const char *label;  /* shown beside the value; may be NULL */
};

struct form;

struct item {
	const char *member; /* parameter of the page's apply method; NULL ends a table */
	enum item_type type;
	const char *label;
	const char *help; /* one or two sentences */
	unsigned flags;
	/* Where its value is in load's answer: "a.b", "addresses.0", "adapters[adapter].dhcp" (the element
	 * whose name is the value of item adapter). NULL: the same as member. */
	const char *from;
	const char *unit;          /* shown behind it */
	const char *first;         /* what a new object begins with */
	const char *const *names;  /* ITEM_CHOICE: fixed, NULL behind the last */
	struct source source;      /* ITEM_CHOICE: else */
	const char *when, *unless; /* shown only if that ITEM_BOOL says yes (no) */
	/* Whether text (not empty) will do; else why not, one sentence. NULL: anything does. */
	bool (*check)(const struct form *f, const char *text, char *why, size_t size);
	/* How a fact, or the value when it is shown in a summary, reads. NULL: as it is. */
	void (*show)(const json_t *value, const json_t *doc, char *out, size_t size);
};

/* A column of a table page. */
struct column {
	const char *title;
	const char *member;
	int width; /* 0: what is left */
	bool right;
	void (*show)(const json_t *value, const json_t *row, char *out, size_t size);
};

enum action_kind { ACTION_PAGE, ACTION_CALL, ACTION_CONSOLE };

/* What can be done with a row of a table (or with none: a new one). */
struct action {
	char key; /* a letter; 0 ends a table. The digit twin is its place: 1 is the first */
	const char *label;
	const char *help;
	enum action_kind kind;
	bool no_row;
	const struct page *page; /* ACTION_PAGE */
	const char *method;      /* ACTION_CALL: called with the row's name, and */
	const char *params;      /* more, as JSON text; may be NULL */
	const char *confirm;     /* a question with %s for the name; NULL: done at once */
	bool rare;               /* not in the foot: Enter and ? list it */
	/* What of the row it is sent, if not the page's row_params: what of the disk is about its image, ...
	 */
	const char *const *row_params;
};

enum page_kind {
	PAGE_FACTS, /* load, items to look at */
	PAGE_FORM,  /* load, items, apply */
	PAGE_TABLE, /* load, columns, actions */
	PAGE_LOG_OFF,
	PAGE_SHELL,
};

enum {
	PAGE_CREATES = 1,     /* nothing to load: items begin with `first`, all that are not empty are sent */
	PAGE_DESTRUCTIVE = 2, /* the call carries confirm */
	PAGE_LEAVES = 4,      /* once applied there is nothing to come back to: the machine is gone */
	PAGE_LIVE = 8,        /* worth loading again now and then */
};

struct page {
	int number;       /* typed in the main menu; -1: reached from another page */
	const char *name; /* for tests and manuals: "network" */
	const char *title;
	const char *about; /* help: what it is for, a few sentences */
	enum page_kind kind;
	unsigned flags;
	const struct item *items;
	const char *load;    /* method; NULL: none */
	const char *member;  /* of its answer: where the items (or rows) are; NULL: all of it */
	const char *apply;   /* method */
	const char *verb;    /* the button: "Apply", "Create" */
	const char *confirm; /* a question asked with the summary; may be NULL */
	const char
	    *subject; /* parameter of load and apply that names the object: "vm"; NULL: there is but one */
	const struct column *columns;
	const char *row_key; /* PAGE_TABLE: member of a row that names it */
	/* PAGE_TABLE with a subject, whose rows are parts of that: the members that name one (NULL behind the
	 * last), sent with its actions under the same names. Without a subject a row is a machine. */
	const char *const *row_params;
	const char *events; /* event types that make it stale begin so: "vm." */
	const char *empty;  /* said when there is no row, or nothing to choose for an ITEM_KEY */
	const struct action *actions;
	/* Shown beside the title in the main menu; host: answer of host.get, vms: array of vm.list (or NULL).
	 */
	void (*brief)(const json_t *host, const json_t *vms, char *out, size_t size);
};

/* The main menu in its order; NULL behind the last. */
extern const struct page *const pages[];
/* Every page there is, those reached from others too. */
extern const struct page *const all_pages[];

#endif
