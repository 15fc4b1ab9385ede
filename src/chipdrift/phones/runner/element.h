/* The types of a tensor's elements, as onnxruntime numbers them and as NumPy names them. */
#ifndef CHIPDRIFT_ELEMENT_H
#define CHIPDRIFT_ELEMENT_H

#include "base.h"

enum { ELEMENT_BOOL = 9 };

/* NumPy's name ("float32"), or ONNX's where NumPy has none; "undefined" for an unknown number. */
const char *element_name(int type);

/* How an npy file spells it ("<f4"); NULL where npy files cannot hold it. */
const char *element_descr(int type);

/* Bytes of one element; 0 where npy files cannot hold it. */
size_t element_size(int type);

/* The type that an npy file spells so; 0 where there is none. */
int element_from_descr(const char *descr);

#endif
