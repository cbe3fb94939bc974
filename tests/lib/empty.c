/* Keeps the library non-empty while no other source is in this folder. */
typedef int pd_test_lib_is_never_empty;
