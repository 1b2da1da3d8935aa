/* A 32-bit program for a container of a 64-bit machine, without a C library: cc -m32 -nostdlib.
 * Does what programs do (memory, a pipe, a process, files) and two things that LXC's policy for all
 * containers forbids; prints what came of each. Numbers: asm/unistd_32.h. */

static int call(int number, long a, long b, long c, long d, long e)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

static void put(const char *word, int value)
{
	char text[16];
	int at = sizeof(text), negative = value < 0;
	unsigned int rest = negative ? -value : value;
	const char *end = word;

	while (*end)
		end++;
	text[--at] = '\n';
	do {
		text[--at] = '0' + rest % 10;
	} while (rest /= 10);
	if (negative)
		text[--at] = '-';
	call(4, 1, (long)word, end - word, 0, 0);
	call(4, 1, (long)(text + at), sizeof(text) - at, 0, 0);
}

void _start(void)
{
	int ends[2], status = 0, pid;
	char byte = 0;
	char *page;

	page = (char *)call(192, 0, 4096, 3, 0x22, -1);
	page[17] = 1;
	put("page ", page[17]);
	call(42, (long)ends, 0, 0, 0, 0);
	pid = call(2, 0, 0, 0, 0, 0);
	if (pid == 0) {
		call(4, ends[1], (long)"x", 1, 0, 0);
		call(252, 5, 0, 0, 0, 0);
	}
	call(3, ends[0], (long)&byte, 1, 0, 0);
	put("byte ", byte);
	call(7, pid, (long)&status, 0, 0, 0);
	put("child ", status >> 8);
	put("file ", call(5, (long)"/etc/passwd", 0, 0, 0, 0) >= 0);
	put("mkdir ", call(39, (long)"/made32", 0755, 0, 0, 0));
	put("init_module ", call(128, 0, 0, 0, 0, 0));
	put("kexec_load ", call(283, 0, 0, 0, 0, 0));
	call(252, 0, 0, 0, 0, 0);
}
