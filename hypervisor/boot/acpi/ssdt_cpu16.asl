/*
 * hypervisor/boot/acpi/ssdt_cpu16.asl - processors 16 to 31.
 *
 * See ssdt_cpu0.asl.
 */
DefinitionBlock ("", "SSDT", 2, "FRHOLD", "FHCPU16", 1)
{
	External (\CSTA, MethodObj)

	Scope (\_SB)
	{
		Device (C016) { Name (_HID, "ACPI0007") Name (_UID, 16) }
		Device (C017) { Name (_HID, "ACPI0007") Name (_UID, 17) Method (_STA) { Return (\CSTA (17)) } }
		Device (C018) { Name (_HID, "ACPI0007") Name (_UID, 18) Method (_STA) { Return (\CSTA (18)) } }
		Device (C019) { Name (_HID, "ACPI0007") Name (_UID, 19) Method (_STA) { Return (\CSTA (19)) } }
		Device (C020) { Name (_HID, "ACPI0007") Name (_UID, 20) Method (_STA) { Return (\CSTA (20)) } }
		Device (C021) { Name (_HID, "ACPI0007") Name (_UID, 21) Method (_STA) { Return (\CSTA (21)) } }
		Device (C022) { Name (_HID, "ACPI0007") Name (_UID, 22) Method (_STA) { Return (\CSTA (22)) } }
		Device (C023) { Name (_HID, "ACPI0007") Name (_UID, 23) Method (_STA) { Return (\CSTA (23)) } }
		Device (C024) { Name (_HID, "ACPI0007") Name (_UID, 24) Method (_STA) { Return (\CSTA (24)) } }
		Device (C025) { Name (_HID, "ACPI0007") Name (_UID, 25) Method (_STA) { Return (\CSTA (25)) } }
		Device (C026) { Name (_HID, "ACPI0007") Name (_UID, 26) Method (_STA) { Return (\CSTA (26)) } }
		Device (C027) { Name (_HID, "ACPI0007") Name (_UID, 27) Method (_STA) { Return (\CSTA (27)) } }
		Device (C028) { Name (_HID, "ACPI0007") Name (_UID, 28) Method (_STA) { Return (\CSTA (28)) } }
		Device (C029) { Name (_HID, "ACPI0007") Name (_UID, 29) Method (_STA) { Return (\CSTA (29)) } }
		Device (C030) { Name (_HID, "ACPI0007") Name (_UID, 30) Method (_STA) { Return (\CSTA (30)) } }
		Device (C031) { Name (_HID, "ACPI0007") Name (_UID, 31) Method (_STA) { Return (\CSTA (31)) } }
	}
}
