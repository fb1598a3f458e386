/* The function lists of PKCS#11 v2.40 and v3.x, from functions.def, and the types of v3.0 that older headers lack.
 *
 * One struct serves both: a v2.40 list is its first 68 functions. Own names, because newer headers define the v3.0
 * types and older ones do not. Layout source: PKCS #11 v3.0 base specification, CK_FUNCTION_LIST_3_0 and CK_INTERFACE.
 */
#ifndef LAB_LISTS_H
#define LAB_LISTS_H

#include <stddef.h>

#include <p11-kit/pkcs11.h>

struct version {
    CK_BYTE major;
    CK_BYTE minor;
};

struct interface {
    CK_BYTE_PTR name;
    void *list;
    CK_FLAGS flags;
};

#define STANDARD_INTERFACE "PKCS 11"
#define FUNCTIONS_ADDED_BY_3_2 12 /* C_EncapsulateKey to C_UnwrapKeyAuthenticated */

#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after) CK_RV(*name) parameters;
struct function_list {
    struct version version;
#include "functions.def"
    void *added_by_3_2[FUNCTIONS_ADDED_BY_3_2];
};
#undef FUNCTION

#define FUNCTION(name, parameters, arguments, before, after) NUMBER_##name,
enum function_number {
    NUMBER_NONE,
#include "functions.def"
    NUMBER_END
};
#undef FUNCTION
#undef FUNCTION3

_Static_assert(offsetof(struct function_list, C_GetInterfaceList) == sizeof(CK_FUNCTION_LIST),
               "the first functions are the v2.40 list");
_Static_assert(NUMBER_END - 1 == 92, "68 functions of v2.40 and 24 of v3.0");

#endif
