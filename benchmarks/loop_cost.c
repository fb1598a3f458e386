/* The yardstick of the operation loops: C_SignInit and C_Sign in a bare loop, with nothing beside them but a counter.
 *
 * Called from Python with the GIL released, like drive_run(), by the very threads and processes that run the loops.
 * The clock is read by nobody: another thread sets `stop` (bare_stop), so that not even a time stamp is in the loop.
 */
#include <stdatomic.h>

#include <p11-kit/pkcs11.h>

#define PUBLIC __attribute__((visibility("default")))

/* Returns the number of signatures made until `*stop` is not 0; -1 after a failure. */
PUBLIC long bare_sign(CK_FUNCTION_LIST *functions, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                      CK_MECHANISM_TYPE type, const CK_BYTE *data, CK_ULONG data_bytes, const _Atomic int *stop)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_BYTE signature[1024];
    long count = 0;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        CK_ULONG length = sizeof signature;
        if (functions->C_SignInit(session, &mechanism, key) != CKR_OK ||
            functions->C_Sign(session, (CK_BYTE_PTR)data, data_bytes, signature, &length) != CKR_OK)
            return -1;
        count++;
    }
    return count;
}
