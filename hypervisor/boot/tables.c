/*
 * hypervisor/boot/tables.c - all that a guest finds between MAP_TABLES and 1 MiB.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/boot.h"
#include "hypervisor/boot/smbios.h"

int
boot_tables(const struct machine *m, struct gmem *mem, struct err *e)
{
	int rc = gmem_zero(mem, MAP_TABLES, MAP_SMBIOS + MAP_SMBIOS_LEN - MAP_TABLES);

	if (rc < 0)
		return err_set(e, -rc, "tables: the machine has no memory below 1 MiB");
	rc = acpi_write(m, mem, e);
	if (rc == 0)
		rc = acpi_write_generation_id(mem, m->generation_id, e);
	if (rc == 0)
		rc = smbios_write(m, mem, e);
	return rc;
}
