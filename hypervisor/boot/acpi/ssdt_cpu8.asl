/*
 * hypervisor/boot/acpi/ssdt_cpu8.asl - processors 8 to 15.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU8", 1)
{
	External (\CSTA, MethodObj)

	Scope (\_SB)
	{
		Device (C008) { Name (_HID, "ACPI0007") Name (_UID, 8) }
		Device (C009) { Name (_HID, "ACPI0007") Name (_UID, 9) Method (_STA) { Return (\CSTA (9)) } }
		Device (C010) { Name (_HID, "ACPI0007") Name (_UID, 10) Method (_STA) { Return (\CSTA (10)) } }
		Device (C011) { Name (_HID, "ACPI0007") Name (_UID, 11) Method (_STA) { Return (\CSTA (11)) } }
		Device (C012) { Name (_HID, "ACPI0007") Name (_UID, 12) Method (_STA) { Return (\CSTA (12)) } }
		Device (C013) { Name (_HID, "ACPI0007") Name (_UID, 13) Method (_STA) { Return (\CSTA (13)) } }
		Device (C014) { Name (_HID, "ACPI0007") Name (_UID, 14) Method (_STA) { Return (\CSTA (14)) } }
		Device (C015) { Name (_HID, "ACPI0007") Name (_UID, 15) Method (_STA) { Return (\CSTA (15)) } }
	}
}
