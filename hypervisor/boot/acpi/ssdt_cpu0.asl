/*
 * hypervisor/boot/acpi/ssdt_cpu0.asl - processor 0.
 *
 * A machine gets the tables of ssdt_cpu*.asl up to its last processor: each holds as many as all
 * before it, so that no guest looks at many devices that it has not got.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU0", 1)
{
	Scope (\_SB)
	{
		Device (C000) { Name (_HID, "ACPI0007") Name (_UID, 0) }
	}
}
