# image/: the appliance's image; see build.sh.
IMAGE_PROGS = $(filter fh-worker fh-agent fh-spawn fhsh sconfig fh-install,$(PROGS))

# Runs in the build chroot: what goes into the image, and its names for image/assemble.sh.
image-programs:
	@$(MAKE) -s $(IMAGE_PROGS:%=$B/bin/%)
	@echo $(IMAGE_PROGS) >$B/image-programs

# The ISO and what it is made of: build/image.
iso:
	@image/build.sh $B/image

.PHONY: iso image-programs
