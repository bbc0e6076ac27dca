/*
 * Where a program of FreeBSD 13 begins. Releases from 14.0 on have this in their C library (`__libc_start1`), and zig's
 * start calls it there, so that what zig links does not start on 13.2.
 */

int atexit(void (*)(void));
_Noreturn void exit(int);
int main(int, char **, char **);

/* The C library has these from the program. */
char **environ;
const char *__progname = "";

/*
 * The kernel's word, and the run-time linker's clean-up: the linker itself runs what is to run before `main` and after,
 * as the second note says.
 */
__attribute__((visibility("hidden"), used)) _Noreturn void begin(char **stack, void (*cleanup)(void)) {
    int count = *(int *)stack;
    char **arguments = stack + 1;
    char **environment = arguments + count + 1;

    if (environ == 0)
        environ = environment;
    if (count > 0 && arguments[0] != 0) {
        __progname = arguments[0];
        for (const char *at = arguments[0]; *at != 0; at++)
            if (*at == '/')
                __progname = at + 1;
    }
    if (cleanup != 0)
        atexit(cleanup);
    exit(main(count, arguments, environment));
}

/* The stack pointer is here as after a call. Backtraces end here. */
__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        ".cfi_startproc\n"
        ".cfi_undefined %rip\n"
        "xorl %ebp, %ebp\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        "callq begin\n"
        "ud2\n"
        ".cfi_endproc\n"
        ".size _start, . - _start\n");

/*
 * Notes of <sys/elf_common.h>: NT_FREEBSD_ABI_TAG, the release that the program is made for (13.2 has 1302001);
 * NT_FREEBSD_NOINIT_TAG, the run-time linker calls the program's initialisers; NT_FREEBSD_FEATURE_CTL, nothing is
 * opted out of.
 */
#define NOTE(type, value) ".4byte 8, 4, " #type "\n.asciz \"FreeBSD\"\n.4byte " #value "\n"
__asm__(".section .note.tag, \"a\", %note\n"
        ".p2align 2\n" NOTE(1, 1302001) NOTE(2, 0) NOTE(4, 0) ".section .note.GNU-stack, \"\", %progbits\n");
