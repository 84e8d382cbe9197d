/*
 * hypervisor/boot/acpi/ssdt_cpu1.asl - processor 1.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU1", 1)
{
	Scope (\_SB)
	{
		Device (C001) { Name (_HID, "ACPI0007") Name (_UID, 1) }
	}
}
