#!/bin/sh
# FreeDOS with its disk
exec qemu-system-i386 \
    -name FreeDOS -machine pc -cpu 486 -m 64 -rtc base=localtime \
    -drive file=FreeDOS.qcow2,format=qcow2,if=ide,index=0,media=disk \
    -drive file=freedos.img,format=raw,if=floppy \
    -boot order=ac \
    -netdev user,id=n0 -device ne2k_pci,netdev=n0,mac=52:54:00:12:34:56 \
    -serial null -display curses
