from chatmemory.cli import main

main()
