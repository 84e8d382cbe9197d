# image/: the appliance's image; see build.sh.
IMAGE_PROGS = $(filter fh-worker fh-agent fh-spawn fh-disk fhsh sconfig fh-install,$(PROGS))

# Runs in the build chroot: what goes into the image, and its names for image/assemble.sh.
image-programs:
	@$(MAKE) -s $(IMAGE_PROGS:%=$B/bin/%)
	@echo $(IMAGE_PROGS) >$B/image-programs

# The ISO and what it is made of: build/image. Everything else that needs an ISO
# takes the one that is there, or makes one that is larger in less time.
iso:
	@image/build.sh $B/image
$B/image/freehold.iso:
	@COMPRESSION=$(or $(COMPRESSION),3) image/build.sh $B/image

# The appliance, installed on a disk image, in an emulator, its console on this terminal.
run: deps
	@$(MAKE) -s $B/image/freehold.iso $B/lab/images $B/bin/fh-install
	@image/run.sh $B/image $B/bin/fh-install $B/lab/guest-cloud-6.12.cpio

# Installs from the ISO under emulation, on BIOS and on UEFI: make image-lab, make image-lab T=silent_bios.
image-lab: $B/image/freehold.iso
	@ISO=$B/image/freehold.iso tests/lab/install.sh $(T)

.PHONY: iso image-programs run image-lab
