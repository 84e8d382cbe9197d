/*
 * sconfig/keys.h - what a user pressed: a Unicode character, or one of these, above all of them.
 *
 * No key here is needed: arrows, F1 and the like have twins that every terminal can send (Ctrl-N,
 * Ctrl-P, Tab, ?, Esc 1), which the back end or the widget translates.
 */
#ifndef SCONFIG_KEYS_H
#define SCONFIG_KEYS_H

enum {
	K_CTRL_A = 0x01,
	K_CTRL_C = 0x03,
	K_CTRL_D = 0x04,
	K_CTRL_E = 0x05,
	K_CTRL_G = 0x07,
	K_BACKSPACE = 0x08,
	K_TAB = 0x09,
	K_ENTER = 0x0d,
	K_CTRL_L = 0x0c,
	K_CTRL_N = 0x0e,
	K_CTRL_P = 0x10,
	K_CTRL_U = 0x15,
	K_ESC = 0x1b,
	K_DELETE = 0x7f,
	K_UP = 0x110000,
	K_DOWN,
	K_LEFT,
	K_RIGHT,
	K_HOME,
	K_END,
	K_PAGE_UP,
	K_PAGE_DOWN,
	K_BACK_TAB,
	K_F1,   /* help */
	K_NONE, /* nothing: a time-out, or a key without meaning */
};

#endif
