/*
 * hypervisor/boot/acpi/ssdt_cpu4.asl - processors 4 to 7.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU4", 1)
{
	External (\CSTA, MethodObj)

	Scope (\_SB)
	{
		Device (C004) { Name (_HID, "ACPI0007") Name (_UID, 4) }
		Device (C005) { Name (_HID, "ACPI0007") Name (_UID, 5) Method (_STA) { Return (\CSTA (5)) } }
		Device (C006) { Name (_HID, "ACPI0007") Name (_UID, 6) Method (_STA) { Return (\CSTA (6)) } }
		Device (C007) { Name (_HID, "ACPI0007") Name (_UID, 7) Method (_STA) { Return (\CSTA (7)) } }
	}
}
