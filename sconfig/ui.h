/*
 * sconfig/ui.h - the full screen: a stack of views between a title line and three lines at the foot (the
 * host's health, what happened last, keys). It draws into cells and is given keys, so that a test can be
 * the terminal. One thread.
 */
#ifndef SCONFIG_UI_H
#define SCONFIG_UI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sconfig/cells.h"
#include "sconfig/form.h"
#include "sconfig/keys.h"
#include "sconfig/link.h"
#include "sconfig/page.h"

enum { UI_ROWS_LEAST = 12, UI_COLS_LEAST = 40, UI_DEPTH_MAX = 16, UI_MESSAGE_SIZE = 1024 };

struct ui;
struct view;

/* What needs the real terminal: both give it back as they got it. 0, or negative with *e. */
struct ui_terminal {
	int (*shell)(void *ctx, struct rpc_error *e);
	/* Connects the terminal with a machine's console until the user leaves. */
	int (*console)(void *ctx, const char *vm, struct rpc_error *e);
	void *ctx;
};

struct view_ops {
	bool over; /* a dialog: what is below stays in sight */
	void (*draw)(struct view *v, struct ui *ui, struct box area);
	bool (*key)(struct view *v, struct ui *ui, uint32_t key); /* false: not one of its keys */
	void (*tick)(struct view *v, struct ui *ui);              /* about every half second; may be NULL */
	void (*stale)(struct view *v, struct ui *ui, const char *event); /* that type happened, "": anything
									    may have; may be NULL */
	void (*help)(
	    struct view *v, struct ui *ui, FILE *out); /* what can be done, the Lua line; may be NULL */
	const char *(*title)(struct view *v);          /* of a whole page; NULL for a dialog */
	void (*free)(struct view *v);
};

/* Views begin with one of these. */
struct view {
	const struct view_ops *ops;
	const char *keys; /* for the foot */
};

struct ui {
	struct link *link;
	struct cells *cells;
	const struct ui_terminal *terminal;
	struct view *stack[UI_DEPTH_MAX];
	int depth;
	json_t *host, *vms; /* for the health line and the menu; NULL: not known */
	char message[UI_MESSAGE_SIZE];
	bool quit;
	bool quiet; /* a slow line: nothing is drawn that nobody asked for */
	bool host_stale, vms_stale;
	const char *stale_event; /* what the events of this tick were about, as page_hears takes it */
	uint64_t loaded_ms;
	char made[VALUE_SIZE]; /* the object that was just created, to be found in its list; else "" */
};

/* Begins with the main menu. The link, cells and terminal stay the caller's. */
void ui_begin(struct ui *ui, struct link *link, struct cells *cells, const struct ui_terminal *terminal);
void ui_end(struct ui *ui);
/* Draws all into the cells, at their size, and places the cursor. */
void ui_draw(struct ui *ui);
void ui_key(struct ui *ui, uint32_t key);
/* Takes events, reconnects, lets live views look again. Call it when the link is readable and about twice a
 * second. True if something may have changed on the screen. */
bool ui_tick(struct ui *ui, uint64_t now_ms);

/* For views. push takes the view, also when there is no room (then it is freed). */
void ui_push(struct ui *ui, struct view *v);
void ui_pop(struct ui *ui);
void ui_say(struct ui *ui, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ui_say_error(struct ui *ui, const struct rpc_error *e);
/* Something was changed from here: health line and menu are loaded again, and the views told. */
void ui_changed(struct ui *ui, const char *event);
/* Opens a page from the tables. */
void ui_open(struct ui *ui, const struct page *page, const char *subject);
/* The same for a part of the subject (form.h); part is taken. */
void ui_open_part(struct ui *ui, const struct page *page, const char *subject, json_t *part);
/* Loads host and vms again. */
void ui_load(struct ui *ui);
/* Whether an event of that type makes a page stale. */
bool page_hears(const struct page *page, const char *event);

struct view *view_menu(void);
struct view *view_form(struct ui *ui, const struct page *page, const char *subject, json_t *part);
struct view *view_table(struct ui *ui, const struct page *page, const char *subject);
/* Scrolled text; both are taken (to be freed). */
struct view *view_text(char *title, char *text);
/* One of several buttons, ended by NULL; chosen gets its number, or -1. ctx must outlive the view: usually
 * the view below. text is taken. */
struct view *view_ask(const char *title, char *text, const char *const *buttons, int first,
    void (*chosen)(void *ctx, struct ui *ui, int button), void *ctx);
/* A list to choose from, found by typing; chosen gets the value, or is not called. choices are copied. */
struct view *view_pick(const char *title, const struct choice *choices, size_t n, const char *value,
    void (*chosen)(void *ctx, struct ui *ui, const char *value), void *ctx);
/* A job's progress; what is the sentence when it is done ("web1: stopped"). Leaving it leaves it running. */
struct view *view_job(const char *what, const char *job);
/* By the state that job.get tells. */
bool job_has_ended(const char *state);

/* A list that scrolls: keeps focus within n rows in sight of a window of rows; returns the first row in
 * sight. */
int scroll_to(int first, int focus, int n, int rows);
/* Moves a focus by a key: arrows, j and k if letters, Ctrl-N, Ctrl-P, Home, End, pages. False: not such a
 * key. */
bool move_focus(int *focus, int n, int page, uint32_t key, bool letters);

#endif
