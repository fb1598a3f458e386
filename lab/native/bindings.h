/* What a library of the lab's shares with its binding in Python: exported functions, and addresses that are numbers. */
#ifndef LAB_BINDINGS_H
#define LAB_BINDINGS_H

#include <stdint.h>

/* All else is hidden: two libraries in one process must not find each other's functions. */
#define PUBLIC __attribute__((visibility("default")))

/* Structures that ctypes fills in have addresses as u64, so that they are the same on both sides. 0 is NULL. */
static inline void *pointer(uint64_t address) { return (void *)(uintptr_t)address; }

#endif
