/*
 * hypervisor/boot/acpi/ssdt_cpu2.asl - processors 2 to 3.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU2", 1)
{
	External (\CSTA, MethodObj)

	Scope (\_SB)
	{
		Device (C002) { Name (_HID, "ACPI0007") Name (_UID, 2) }
		Device (C003) { Name (_HID, "ACPI0007") Name (_UID, 3) Method (_STA) { Return (\CSTA (3)) } }
	}
}
